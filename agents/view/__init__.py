"""Live page of run folders in the browser: runs, episodes call by call, forks, tasks and tools."""
