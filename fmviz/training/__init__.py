"""A pyramid trained on drawn shapes, in minutes and without any download: from the scenes to the file.

scenes.py      what it learns from: shapes of four sizes, drawn from a seed
targets.py     which cell of which level should see which thing
losses.py      how far it is from that
features.py    what the frozen body makes of the scenes, kept for as long as it learns
train.py       the loop
detect.py      boxes out of what the levels say
measure.py     how well the levels answer to things by their size, on fresh scenes
photographs.py the same on photographs that it never saw
"""
