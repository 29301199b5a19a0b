"""Tests of what a stage script needs from the workflow, and of the DAG."""
