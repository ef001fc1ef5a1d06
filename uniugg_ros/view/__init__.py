"""``uniugg view``: scenes in a browser, with sliders for the pose and a field for questions. Needs no ROS."""
