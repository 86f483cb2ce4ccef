#!/bin/sh
exec node --require ./lambda-wrapper.js server.js
