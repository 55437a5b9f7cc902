from hwloop.network.cache import ByteCache


def test_what_was_used_longest_ago_goes_first():
    made: list[str] = []

    def value(name: str) -> bytes:
        made.append(name)
        return bytes(40)

    cache: ByteCache[str, bytes] = ByteCache(100, len)
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, lambda name=name: value(name))
    assert made == ["a", "b", "c", "b"]  # c pushed b out, since a had been used after it
    assert (len(cache), cache.bytes) == (2, 80)


def test_the_latest_is_kept_however_large():
    cache: ByteCache[str, bytes] = ByteCache(10, len)
    for name in ("a", "b"):
        assert len(cache.get(name, lambda: bytes(50))) == 50
    assert (len(cache), cache.bytes) == (1, 50)
