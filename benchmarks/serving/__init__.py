"""What the app runtime and the server promise, and the commands that measure it."""
