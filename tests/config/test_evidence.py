from relay.config.evidence import load_model


def test_the_shipped_model_is_whole_and_loaded_once() -> None:
    model = load_model()
    assert load_model() is model
    assert model.version
    assert set(model.sections) == {"subject", "opening", "text"}
    assert [name for name, _, _, weights in model.sections["opening"] if not any(weights)] == []
    assert [one[0] for one in model.sections["subject"]] == list(model.phrases.concepts)
    assert "facts=" in repr(model)
