from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/orders/{order}")
def order(order: str, request: Request) -> dict[str, str | None]:
    if order == "none":
        raise LookupError("no such order")
    return {"order": order, "trace": request.headers.get("x-amzn-trace-id")}
