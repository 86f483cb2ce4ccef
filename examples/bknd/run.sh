#!/bin/sh
exec node --disable-warning=ExperimentalWarning dist/server.mjs # listens on 127.0.0.1:$PORT, which Fairlead sets
