"""What the planner does with long tables of usage."""
