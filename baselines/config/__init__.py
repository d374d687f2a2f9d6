"""Options that trainers share."""
