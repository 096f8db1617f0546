"""The HTTP service: an ASGI app around one runtime. `app.create_app` makes it, `serving.serve` runs it."""
