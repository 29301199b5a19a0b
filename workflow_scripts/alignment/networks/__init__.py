"""Networks of both arms, their training, and how angles follow from what is compared along the angle."""
