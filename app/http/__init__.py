"""HTTP below the routes: the server, its protocol, middleware, decoding, load shedding."""
