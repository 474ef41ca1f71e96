"""inglenook: one local server for every model an agent talks to."""
