"""Operations of ToolWorld: lookups, aggregations, formulas and mutations."""
