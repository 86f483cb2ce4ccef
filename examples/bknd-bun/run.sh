#!/bin/sh
exec bun dist/server.js # listens on 127.0.0.1:$PORT, which Fairlead sets
