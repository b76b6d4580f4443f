"""Operations of ToolWorld: lookups, aggregations, mutations."""
