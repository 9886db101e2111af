import socket

# Create a socket object
client_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

# Connect to the server
client_socket.connect(("localhost", 65430))

# Send a message to the server
client_socket.sendall(b"Hello, Server!")

# Receive a response from the server
data = client_socket.recv(1024)
print("Received from server:", data.decode())

# Close the client socket
client_socket.close()
