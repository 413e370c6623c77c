"""`broadwing connect`: a client of channels in the terminal, by hand and in scripts. Loaded only where it is used."""
