"""The step types of workflows that reach outside: http, webhook, script, agent, database, email, llm, mcp."""
