"""What an HTTP server of ours needs: the server and its connections, listening sockets, problem details."""
