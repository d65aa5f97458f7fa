"""What a conversion did and how its schedules compare, as text and as a page."""
