"""The requests of the published list that read answers and what is made of them."""

from __future__ import annotations


def results() -> dict[str, tuple[str, int]]:
    """The page of answers and the route beside it, in each of their views."""
    views = {
        "": "",
        ", one batch": "?batch={huge}",
        ", one batch, failed": "?batch={errors}&status=failed",
        ", one model": "?model={model}",
        ", one model, failed": "?model={model}&status=failed",
        ", failed": "?status=failed",
        ", cut": "?finish=length",
        ", an error": "?error=context_length_exceeded",
        ", a custom_id": "?custom_id={custom_id}",
        ", last 24 h": "?since=24h",
        ", longest": "?min_tokens=20000",
        ", shortest": "?max_tokens=12",
        ", long ones of a model": "?model={model}&min_tokens=90",
        ", starred": "?starred=yes",
        ", not starred": "?starred=no",
        ", a rating": "?min_rating=7",
        ", a tag": "?tag=no-such-tag",
        ", search: a word in each": "?q=answer",
        ", search: a word in many": "?q=translate",
        ", search: a phrase": "?q=%22goes+on+for+a+while%22",
        ", search: a rare word": "?q={custom_id}",
        ", search: nothing found": "?q=nosuchword",
        ", search: one word without another": "?q=passage+-while",
        ", search in a batch": "?batch={huge}&q=passage",
        ", search in a model, failed": "?model={model}&status=failed&q=explain",
        ", deep page": "?before={deep_result}",
        ", search, deep page": "?q=translate&before={deep_result}",
        ", failed, deep page": "?status=failed&before={deep_result}",
    }
    pages = {f"Results{words}": (f"/results{query}", 15) for words, query in views.items()}
    routes = {
        f"/api/results{words}": (f"/api/results{query.replace('before', 'after')}", 9)
        for words, query in views.items()
    }
    more = {
        "/api/discover": ("/api/discover", 6),
        "/api/discover of a batch": ("/api/discover?batch_id={huge}", 7),
        "/api/gold-star": ("/api/gold-star", 6),
        "/api/export-gold-star": ("/api/export-gold-star?format=raw&min_quality=7", 8),
        "Re-run what a filter finds": ("/results/rerun?batch={small}", 14),
        "Curate": ("/curation", 8),
        "Data sets": ("/datasets", 8),
    }
    return {**pages, **routes, **more}


def compare() -> dict[str, tuple[str, int]]:
    """The page that compares, its figures and a row, of batches and of models."""
    pair = "?side={evaluation}&side={evaluation_again}"
    models = "?side=model:{model}&side=model:{other_model}&project={project}"
    alone = "?side={huge}&side={evaluation}"
    views = {
        "": "",
        ", two batches": pair,
        ", two batches by prompt": f"{pair}&by=prompt",
        ", only different": f"{pair}&show=different",
        ", only the same": f"{pair}&show=same",
        ", missing by prompt": f"{pair}&by=prompt&show=missing",
        ", huge and a small one": alone,
        ", huge, middle": f"{alone}&from=0.{{huge_middle}}",
        ", huge, only the same": f"{alone}&show=same",
        ", huge by prompt, only the same": f"{alone}&by=prompt&show=same",
        ", huge, what the small one has": f"{alone}&from=1.0",
        ", what the huge one has, end": "?side={evaluation}&side={huge}&from=1.{huge_middle}",
        ", two models": models,
        ", two models by custom_id": f"{models}&by=custom_id",
        ", two models, only the same": f"{models}&show=same",
        ", a model and a batch": "?side=model:{model}&side={evaluation}",
    }
    # What is looked for takes several slices of rows, and so do a model's, many of which may be
    # of a line that it answered again since.
    pages = {
        f"Compare{words}": (
            f"/compare{query}",
            25 if "=model:" in query else 21 if "show=" in query else 19 if query else 7,
        )
        for words, query in views.items()
    }
    parts = {
        f"Compare, figures of {words}": (f"/compare/figures{query}", 15)
        for words, query in (("two", pair), ("huge", alone), ("models", models))
    }
    return {**pages, **parts, "Compare, a row": (f"/compare/row{pair}&at=0.0", 12)}
