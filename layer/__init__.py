"""Builds the layers."""
