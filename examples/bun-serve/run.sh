#!/bin/sh
# Starts the app. Fairlead sets PORT; bun is in Fairlead's layer for Bun.
exec bun server.ts
