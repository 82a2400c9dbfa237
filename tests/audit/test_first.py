from tests.audit.logs import Log

def test_clean(log: Log) -> None:
    r = log.verify()
    print(r.to_json())
    assert r.is_clean
