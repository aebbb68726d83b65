"""The agent-security plane: events, agents, policies, alerts and what belongs to them, one file per noun."""
