"""The models that API and command line both show; knows no socket and no event loop."""
