"""The process that knows what time it is: it turns the timetable's slots into jobs."""
