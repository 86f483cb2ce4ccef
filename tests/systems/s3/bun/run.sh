#!/bin/sh
exec bun app.mjs
