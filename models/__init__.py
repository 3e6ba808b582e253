"""Network builders; the bundled network and the script that trains it."""
