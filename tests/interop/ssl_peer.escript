#!/usr/bin/env escript
%% Erlang's own ssl as the peer of `gensock`; run by tests/interop/tls_erlang.
%%
%%   client DIR PORT PACKET VERSION HOW   talks to an echo server: HOW is passive, once, upgrade (of a gen_tcp socket),
%%                                        cert (a client certificate), alpn, resume, or wrong (a name it refuses)
%%   server DIR PACKET VERSION HOW        prints its port; sends each packet of one connection back: passive, once,
%%                                        cert (it wants one), alpn; until one says bye: a passive ssl of OTP 25 that is waiting
%%                                        in recv does not tell a close_notify before the connection below ends
%% DIR has ca.pem, server.pem, server.key, client.pem and client.key. Exit code 0 when all was right.
-mode(compile).

main(["client", Dir, Port, Packet, Version, How]) ->
    {ok, _} = application:ensure_all_started(ssl),
    client(How, Dir, list_to_integer(Port), Packet, version(Version));
main(["server", Dir, Packet, Version, How]) ->
    {ok, _} = application:ensure_all_started(ssl),
    server(How, Dir, Packet, version(Version)).

type("line") -> line;
type(Packet) -> list_to_integer(Packet).

version(Version) -> list_to_atom(Version).

verify(Dir, Version) ->
    [{versions, [Version]}, {verify, verify_peer}, {cacertfile, Dir ++ "/ca.pem"}].

pair(Dir, Name) -> [{certfile, Dir ++ "/" ++ Name ++ ".pem"}, {keyfile, Dir ++ "/" ++ Name ++ ".key"}].

options(Packet) -> [binary, {active, false}, {packet, type(Packet)}].

connect(Dir, Port, Packet, Version, More) ->
    ssl:connect("localhost", Port, options(Packet) ++ verify(Dir, Version) ++ [inet | More], 10000).

client("wrong", Dir, Port, Packet, Version) ->
    {error, {tls_alert, {handshake_failure, _}}} = connect(Dir, Port, Packet, Version, [{server_name_indication, "wrong.test"}]),
    io:format("refused~n");
client("resume", Dir, Port, Packet, Version) ->
    More = case Version of 'tlsv1.3' -> [{session_tickets, auto}]; _ -> [{reuse_sessions, save}] end,
    First = resumed(Dir, Port, Packet, Version, More),
    timer:sleep(500), %% its ticket store and session cache are other processes
    Second = resumed(Dir, Port, Packet, Version, More),
    io:format("~p then ~p~n", [First, Second]);
client("upgrade", Dir, Port, Packet, Version) ->
    {ok, Plain} = gen_tcp:connect("localhost", Port, [inet, binary, {active, false}]),
    {ok, S} = ssl:connect(Plain, options(Packet) ++ verify(Dir, Version) ++ [{server_name_indication, "localhost"}], 10000),
    talk(S, Packet, passive),
    ok = ssl:close(S);
client(How, Dir, Port, Packet, Version) ->
    More = case How of
               "cert" -> pair(Dir, "client");
               "alpn" -> [{alpn_advertised_protocols, [<<"h2">>, <<"http/1.1">>]}];
               _ -> []
           end,
    {ok, S} = connect(Dir, Port, Packet, Version, More),
    {ok, [{protocol, Version}]} = ssl:connection_information(S, [protocol]),
    How =/= "alpn" orelse ({ok, <<"http/1.1">>} = ssl:negotiated_protocol(S)),
    talk(S, Packet, list_to_atom(How)),
    ok = ssl:close(S).

resumed(Dir, Port, Packet, Version, More) ->
    {ok, S} = connect(Dir, Port, Packet, Version, More),
    talk(S, Packet, passive),
    {ok, [{session_resumption, Resumed}]} = ssl:connection_information(S, [session_resumption]),
    ok = ssl:close(S),
    Resumed.

%% 200 packets of many sizes, one after the other; then all at once.
talk(S, Packet, How) ->
    All = [message(Packet, I) || I <- lists:seq(1, 200)],
    lists:foreach(fun(M) -> ok = ssl:send(S, M), back(S, M, How) end, All),
    Me = self(),
    spawn_link(fun() -> lists:foreach(fun(M) -> ok = ssl:send(S, M) end, All), Me ! sent end),
    lists:foreach(fun(M) -> back(S, M, How) end, All),
    receive sent -> ok end,
    io:format("400 packets came back as they went~n").

back(S, Message, once) ->
    ok = ssl:setopts(S, [{active, once}]),
    receive
        {ssl, S, Message} -> ok;
        {ssl_closed, S} -> exit(closed)
    after 10000 -> exit(timeout)
    end;
back(S, Message, _) ->
    {ok, Message} = ssl:recv(S, 0, 10000).

message("line", I) -> <<(body(I, (I * 97) rem 1000))/binary, "\n">>;
message(_, I) -> body(I, 1 + (I * 7919) rem 60000).

body(I, Size) -> binary:copy(<<($a + I rem 26)>>, Size).

server(How, Dir, Packet, Version) ->
    {ok, L} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(L),
    io:format("~p~n", [Port]),
    {ok, Plain} = gen_tcp:accept(L, 20000),
    More = case How of
               "cert" -> verify(Dir, Version) ++ [{fail_if_no_peer_cert, true}];
               "alpn" -> [{versions, [Version]}, {alpn_preferred_protocols, [<<"http/1.1">>]}];
               _ -> [{versions, [Version]}]
           end,
    {ok, S} = ssl:handshake(Plain, options(Packet) ++ pair(Dir, "server") ++ More, 10000),
    {ok, _} = case How of "cert" -> ssl:peercert(S); _ -> {ok, none} end,
    mirror(S, list_to_atom(How), 0).

mirror(S, How, N) ->
    case take(S, How) of
        {ok, Data} ->
            ok = ssl:send(S, Data),
            case Data of
                <<"bye", _/binary>> -> io:format("~p packets~n", [N]), read_close_notify(S, How), ssl:close(S);
                _ -> mirror(S, How, N + 1)
            end
    end.

%% Closing with it unread would make the kernel drop what it has not sent yet.
read_close_notify(S, once) ->
    _ = ssl:setopts(S, [{active, once}]),
    receive {ssl_closed, S} -> ok after 300 -> ok end;
read_close_notify(S, _) ->
    ssl:recv(S, 0, 300).

take(S, once) ->
    ok = ssl:setopts(S, [{active, once}]),
    receive
        {ssl, S, Data} -> {ok, Data};
        {ssl_closed, S} -> {error, closed};
        {ssl_error, S, Why} -> {error, Why}
    after 20000 -> {error, timeout}
    end;
take(S, _) -> ssl:recv(S, 0, 20000).
