"""The web UI's side of the controller: its files, and the sessions of browsers."""
