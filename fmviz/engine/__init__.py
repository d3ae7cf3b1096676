"""The engine: the process that holds torch, the network and the captures."""
