"""Tests: unit (pure), conformance (a scripted Runtime API), integration (the layer under the emulator)."""
