"""Lexical scores of a training batch in three ways."""
