"""The user's segmented images: from their files to a projected potential."""
