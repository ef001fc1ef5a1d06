"""The procedural world: furnished rooms made of textured boxes, cylinders and ellipsoids, from nothing but a seed.

Read in this order: `classes`, `palette`, `textures` (the vocabulary); `parts` and the furniture files `seating`,
`tables`, `storage`, `decor`, `fixtures` (objects from parts); `plan`, `habits` and `furnish` (where things go); `room`
(all of it together, with lights); `paths` (where the robot drives); `render_gl` and `raycast` (two renderers of one
room).
"""
