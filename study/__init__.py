"""Which optimizer is best on these images, and is the difference real?"""
