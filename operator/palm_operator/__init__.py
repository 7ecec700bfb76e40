"""The operator: observe, plan, execute, report. ``planner`` decides, ``executor`` writes."""
