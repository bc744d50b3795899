from relay.config.evidence import load_model


def test_the_shipped_model_is_whole_and_loaded_once() -> None:
    model = load_model()
    assert load_model() is model
    assert model.version
    assert set(model.sections) == {"subject", "opening", "text"}
    unweighted = [
        name
        for name, weights in zip(model.phrases.concepts, model.sections["opening"], strict=True)
        if not any(weights)
    ]
    assert unweighted == []
    assert "facts=" in repr(model)
