"""The live page: what people see in a browser, written on the server from the same read models as the API."""
