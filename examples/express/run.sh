#!/bin/sh
# Starts the app. Fairlead sets PORT; node is in Fairlead's layer for Node.
# Lambda does not set NODE_ENV, and without it Express shows clients the stack of each error.
NODE_ENV=production exec node server.js
