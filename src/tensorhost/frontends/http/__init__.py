"""What every front end over HTTP needs: a request and its reply, routes, what a client accepts."""
