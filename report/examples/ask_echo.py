from websockets.sync.client import connect

with connect("ws://127.0.0.1:8000/ws") as websocket:
    websocket.send("Is anybody there?")
    print(websocket.recv())
