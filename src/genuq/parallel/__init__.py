"""Several processes of one job: started, connected, dealt work, and in agreement."""
