"""Looking at what happens: ladder diagrams of captures."""
