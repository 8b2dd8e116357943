"""What keeps an installed cv2 from being imported, and its cure in place."""
