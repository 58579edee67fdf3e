"""The library behind the stages. It adapts a 2D pose network to a calibrated rig, from geometry alone.

Conventions, everywhere in this package (readers convert at the door):

- world: mm, z up. Camera: mm, x right, y down, z forward, `x_camera = R (x_world - centre)`.
- image: px of the full image, (0, 0) is the centre of the top-left pixel. Pixels of an image are *distorted* pixels
  unless a name says undistorted. map: px of a heatmap, same rule.
- axes of arrays come in the order (frames, views, joints, coordinates).
- score in [0, 1]. NaN = not detected or unknown; it stays NaN to the end and is never replaced by a guess.
- matrices are named target_from_source, so that neighbours cancel: `image_from_camera @ camera_from_world`.

This file imports nothing, on purpose: any import here would be a dependency of every stage.
"""
