#server.py
import socket

# Create a socket object
server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

# Set the SO_REUSEADDR option to reuse the port
server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

# Bind the socket to an address and port
server_socket.bind(("localhost", 65430))

# Listen for incoming connections
server_socket.listen()

print("Server is listening on port 65430...")

# Accept a connection
conn, addr = server_socket.accept()

with conn:
    print(f"Connected by {addr}")

    # Receive data from the client
    data = conn.recv(1024)
    if data:
        print("Received from client:", data.decode())

        # Send a response back to the client
        conn.sendall(b"Hello, Client!")

# Close the server socket
server_socket.close()
