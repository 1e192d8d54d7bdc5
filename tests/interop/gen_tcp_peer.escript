#!/usr/bin/env escript
%% Erlang's own gen_tcp as the peer of `gensock`; run by tests/cli and tools/demo.
%%
%%   client PORT PACKET MESSAGE…   sends each message to an echo server, and prints what comes back
%%   storm PORT PACKET N           sends N packets of many sizes without waiting; all must come back as they went
%%   server PACKET                 prints its port; answers each packet of one connection in capitals, until it is closed
%%   mirror PACKET                 the same, but answers what came
%% Exit code 0 when all was right.
-mode(compile).

main(["client", Port, Packet | Messages]) ->
    S = connect(Port, Packet),
    lists:foreach(fun(M) -> call(S, Packet, list_to_binary(M)) end, Messages),
    ok = gen_tcp:close(S);
main(["storm", Port, Packet, Count]) ->
    S = connect(Port, Packet),
    All = [message(Packet, I) || I <- lists:seq(1, list_to_integer(Count))],
    Me = self(),
    spawn_link(fun() -> lists:foreach(fun(M) -> ok = gen_tcp:send(S, M) end, All), Me ! sent end),
    take_back(S, Packet, All),
    receive sent -> ok end,
    %% Nothing more than was sent: after the half close the peer's end is next.
    ok = gen_tcp:shutdown(S, write),
    {error, closed} = gen_tcp:recv(S, 0, 10000),
    io:format("~s packets came back as they went~n", [Count]);
main(["server", Packet]) ->
    serve(Packet, fun(Data) -> string:uppercase(Data) end, true);
main(["mirror", Packet]) ->
    serve(Packet, fun(Data) -> Data end, false).

type("line") -> line;
type(Packet) -> list_to_integer(Packet).

options(Packet) -> [binary, {active, false}, {packet, type(Packet)}, {nodelay, true}, {buffer, 262144}].

connect(Port, Packet) ->
    {ok, S} = gen_tcp:connect("127.0.0.1", list_to_integer(Port), options(Packet), 10000),
    S.

call(S, Packet, Text) ->
    Message = case Packet of "line" -> <<Text/binary, "\n">>; _ -> Text end,
    ok = gen_tcp:send(S, Message),
    {ok, Message} = gen_tcp:recv(S, case Packet of "0" -> byte_size(Message); _ -> 0 end, 10000),
    io:format("sent ~p, got ~p~n", [Message, Message]).

%% Sizes around the edges of the types, and some in between.
message("1", I) -> body(I, (I * 37) rem 256);
message("line", I) -> <<(body(I, (I * 97) rem 5000))/binary, "\n">>;
message("2", I) -> body(I, (I * 7919) rem 65536);
message(_, I) -> body(I, 1 + (I * 7919) rem 100000).

%% No newline inside.
body(I, Size) -> binary:copy(<<($a + I rem 26)>>, Size).

take_back(S, "0", All) ->
    Bytes = iolist_to_binary(All),
    {ok, Bytes} = gen_tcp:recv(S, byte_size(Bytes), 60000);
take_back(S, _, All) ->
    lists:foreach(fun(M) -> {ok, M} = gen_tcp:recv(S, 0, 60000) end, All).

serve(Packet, Answer, Talks) ->
    {ok, L} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | options(Packet)]),
    {ok, Port} = inet:port(L),
    io:format("~b~n", [Port]),
    {ok, S} = gen_tcp:accept(L, 30000),
    loop(S, Answer, Talks).

loop(S, Answer, Talks) ->
    ok = inet:setopts(S, [{active, once}]),
    receive
        {tcp, S, Data} ->
            Reply = Answer(Data),
            [io:format("got ~p, answered ~p~n", [Data, Reply]) || Talks],
            ok = gen_tcp:send(S, Reply),
            loop(S, Answer, Talks);
        {tcp_closed, S} ->
            [io:format("closed by the peer~n") || Talks]
    after 60000 ->
        halt(3)
    end.
