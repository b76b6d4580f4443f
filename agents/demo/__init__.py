"""The demonstration: two training runs that differ in their reward, compared on held-out tasks."""
